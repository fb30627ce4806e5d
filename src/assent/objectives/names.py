"""Names that users bring from the literature and from other tools, and what they mean here."""

from __future__ import annotations

from typing import Any

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "alphadpo": ("alpha_dpo", {}),
    "amopo": ("raco", {"average": True, "reference_free": True, "beta": 0.8}),
    "aot_pair": ("aot", {"paired": False}),
    "aot_unpaired": ("aot", {"paired": False}),
    "apo_down": ("apo", {"variant": "down"}),
    "apo_zero": ("apo", {"variant": "zero"}),
    "apo_zero_unpaired": ("apo", {"variant": "zero", "paired": False}),
    "bce": ("bco_pair", {}),
    "cdpo": ("dpo", {"label_smoothing": 0.1}),
    "conservative_dpo": ("dpo", {"label_smoothing": 0.1}),
    "ddpo": ("dense_dpo", {}),
    "dpo_norm": ("ln_dpo", {}),
    "dpo_positive": ("dpop", {}),
    "exo": ("exo_pair", {}),
    "f_dpo": ("dpo", {"divergence": "js"}),
    "hinge": ("gpo", {"link": "hinge"}),
    "ipo_avg": ("ipo", {"average": True}),
    "ipo_sum": ("ipo", {"average": False}),
    "iterative_rpo": ("dpo_plus_nll", {"nll_weight": 1.0}),
    "jpo": ("dove", {}),
    "dmpo": ("exo_pair", {"label_smoothing": 0.01, "beta": 2500.0}),
    "dpo_gamma": ("attenuated_dpo", {}),
    "lc_dpo": ("length_dpo", {}),
    "lddpo": ("ld_dpo", {}),
    "lipo_lambda": ("lipo", {"loss": "lambda"}),
    "list_mle": ("lipo", {"loss": "list_mle"}),
    "nll": ("sft", {}),
    "plackett_luce": ("lipo", {"loss": "list_mle"}),
    "povid": ("bdhs", {}),
    "pro": ("pro_ranking", {}),
    "r_dpo": ("length_dpo", {}),
    "re_po": ("lcpo", {}),
    "rdpo_length": ("length_dpo", {}),
    "robust": ("robust_dpo", {}),
    "rlhf_v": ("dense_dpo", {}),
    "rso": ("gpo", {"link": "hinge", "beta": 0.05}),
    "sigmoid": ("dpo", {}),
    "sigmoid_norm": ("ln_dpo", {}),
    "slic_norm": ("gpo", {"link": "hinge"}),
    "smaug": ("dpop", {}),
    "spa": ("selfie", {}),
    "spce": ("osp", {}),
    "sppo_hard": ("sppo", {"hard": True}),
    "tkto": ("tpo_free_lunch", {"variant": "tkto"}),
    "tdpo1": ("token_dpo", {"version": 1}),
    "tdpo2": ("token_dpo", {"version": 2}),
}
"""Names of the literature and of other tools, as (slug, options)."""

AMBIGUOUS: dict[str, tuple[str, ...]] = {
    "alpha": ("alpha_dpo", "alphapo", "dpo with divergence: alpha"),
    "dpo_robust": ("robust_dpo", "dr_dpo", "lcpo", "dpo with label_smoothing"),
    "rdpo": ("robust_dpo (flipped labels)", "length_dpo (length-regularised)", "re_align (retrieved images)"),
    "rpo": (
        "dpo_plus_nll (arXiv 2405.16436, 2404.19733)",
        "reward_aware_rpo (arXiv 2406.11704)",
        "lcpo (arXiv 2509.24159, version 1)",
    ),
    "slic": ("slic_hf (log-probabilities, no reference)", "gpo with link: hinge (SLiC-norm, RSO)"),
    "spo": ("sequential_po (multi-objective)", "step_aware (diffusion)"),
    "tdpo": ("token_dpo (token-level)", "tpo_free_lunch with variant: tdpo (text-to-image)"),
    "tpo": ("tpo_free_lunch (text-to-image)", "dpo_plus_nll (triple preference optimization is close to it)"),
    "vpo": ("vdpo (image-guided)", "mdpo (with an image term)"),
}
"""Names that mean several methods, with the choices."""
