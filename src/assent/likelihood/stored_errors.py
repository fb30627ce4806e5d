"""A diffusion reference's errors under fixed noise, kept by what they were computed from and looked up ever after.

With `noise: fixed` a record keeps its timesteps and noise, so that the reference's error of a picture is one number
for ever. A row's key is a hash of the reference's weights and noise levels, of the weighting, and of everything the
network is shown: the latents, the noise, the noise level and the conditioning, as numbers. Whatever changes any of
them (another crop, an emptied prompt, another seed, other text encoders) asks for another key: nothing can be stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.likelihood.diffusion import LATENTS, ROW_KEYS, DiffusionPolicy
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.policy import Batch, Reference
from assent.work.store import ArrayStore

ERROR = "log_likelihood"
FLUSH_ROWS = 1000
"""Rows between two flushes: what a kill can lose."""


class StoredErrors:
    """A reference that looks up what it knows and computes the rest.

    Args:
        inner: the live reference.
        policy: the trained policy, which names the rows of a batch.
        store: of the errors.
        identity: of the reference; see `reference_identity`.
    """

    def __init__(self, inner: Reference, policy: DiffusionPolicy, store: ArrayStore, identity: str) -> None:
        self.inner, self.store, self.identity = inner, store, identity
        self.computed = self.found = self._unflushed = 0
        policy.names_rows = True

    @property
    def policy(self) -> torch.nn.Module | None:
        """The policy of the live reference."""
        return getattr(self.inner, "policy", None)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The reference's likelihoods; the network runs only where a row of the batch is unknown."""
        keys = [hashlib.sha256(f"{self.identity} {row}".encode()).digest() for row in batch[ROW_KEYS]]
        kept = self.store.get_all(keys)
        known = [arrays[ERROR] for arrays in kept if arrays is not None and ERROR in arrays]
        if len(known) == len(keys):
            self.found += len(keys)
            device = batch[LATENTS].device
            tokens = torch.from_numpy(np.stack(known)).to(device)
            mask: Tensor = batch["mask"]
            return Likelihoods(tokens, batch["owner"], (mask.shape[0], mask.shape[1]), mask)
        likelihoods = self.inner(comparisons, batch)
        for key, arrays, value in zip(keys, kept, likelihoods.tokens.cpu().numpy(), strict=True):
            if arrays is None and np.isfinite(value):
                self.store.put(key, {ERROR: value})
                self.computed += 1
                self._unflushed += 1
        if self._unflushed >= FLUSH_ROWS:
            self.store.flush()
            self._unflushed = 0
        return likelihoods

    def close(self) -> None:
        """Ends the shard, so that other runs see it."""
        self.store.close_shard()


def reference_identity(policy: DiffusionPolicy, weights: str) -> str:
    """What decides the numbers of a reference besides the rows: weights, type, noise levels, weighting.

    Args:
        policy: of the reference.
        weights: hash of its network's weights without what is trained.
    """
    digest = hashlib.sha256(weights.encode())
    noising = policy.noising
    parameter = next(policy.model.parameters())
    digest.update(repr((noising.prediction, policy.weighting, str(parameter.dtype))).encode())
    for table in (noising.signal, noising.noise, noising.timesteps):
        digest.update(table.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
