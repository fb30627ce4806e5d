"""One file per paper: its story told by calling the rooms.

A recipe is a module with a docstring, which is the story, and `main(arguments)`.
"""

_NAMES = (
    "best_of_n",
    "codeultrafeedback",
    "community_alignment",
    "constitution",
    "context_aware",
    "d2_align",
    "demo",
    "diffusion_demo",
    "diffusion_dpo",
    "gpm",
    "hybrid_routing",
    "inpo",
    "mapo",
    "more",
    "osp",
    "p_aligner",
    "pal",
    "preference_orchestrator",
    "raft",
    "rag_rewardbench",
    "ranking_accuracy",
    "rejection_sampling",
    "reward_augmented",
    "reward_models",
    "rrr",
    "selfie",
    "step_aware",
    "tpo_free_lunch",
    "wildfeedback",
)

RECIPES: dict[str, str] = {name: f"assent.recipes.{name}" for name in _NAMES}
"""Names of the recipes and their modules; a test asserts that every file of the room is listed."""
