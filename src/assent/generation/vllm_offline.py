"""Sampling with vLLM in this process, where it is installed: continuous batching and prefix caching on a GPU.

The seed is passed on for each record; vLLM does not promise the same text in another batch. Not tested on a
device: the tests of this project run where vLLM does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from assent.comparison import Prompt, content_key
from assent.errors import InputError
from assent.generation.prompts import prompt_ids
from assent.generation.sampling import FinishReason, Sample, Sampling

CHUNK = 512
"""Prompts given to the engine together; results come after each chunk."""


class VLLMGenerator:
    """Draws completions with an offline vLLM engine.

    Args:
        model: folder or hub name.
        options: further arguments of `vllm.LLM`.
    """

    def __init__(self, model: str, **options: Any) -> None:
        try:
            from vllm import LLM
        except ImportError:
            raise InputError(
                "vLLM is not installed", field="vllm", remedy="pip install 'assent[vllm]' on a machine with a GPU"
            ) from None
        self.engine = LLM(model=model, enable_prefix_caching=True, **options)
        self.tokenizer = self.engine.get_tokenizer()
        self.name = model

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        """Pairs (index of the prompt, its K samples), in order."""
        if sampling.coupling != "independent":
            raise InputError("vLLM draws independent samples only", field="coupling", found=sampling.coupling)
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        for start in range(0, len(prompts), CHUNK):
            part = range(start, min(start + CHUNK, len(prompts)))
            inputs = [{"prompt_token_ids": prompt_ids(prompts[at], self.tokenizer)} for at in part]
            options = [self._options(sampling, names[at]) for at in part]
            outputs = self.engine.generate(inputs, options, use_tqdm=False)
            for at, output in zip(part, outputs, strict=True):
                yield at, [_sample(one, len(output.prompt_token_ids)) for one in output.outputs]

    def _options(self, sampling: Sampling, name: str) -> Any:
        from vllm import SamplingParams

        digest = hashlib.blake2b(f"{sampling.seed}\0{name}".encode(), digest_size=4).digest()
        return SamplingParams(
            n=sampling.samples,
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,
            stop=list(sampling.stop) or None,
            seed=int.from_bytes(digest, "little") >> 1,
            logprobs=0,
        )


def _sample(output: Any, prompt_tokens: int) -> Sample:
    reason: FinishReason = "length" if output.finish_reason == "length" else "stop"
    pairs = zip(output.token_ids, output.logprobs or (), strict=False)
    return Sample(
        text=output.text,
        token_ids=tuple(output.token_ids),
        log_probs=tuple(step[token].logprob for token, step in pairs),
        finish_reason=reason,
        usage={"prompt": prompt_tokens, "completion": len(output.token_ids)},
    )
