"""One file per paper: its story told by calling the rooms.

A recipe is a module with a docstring, which is the story, and `main(arguments)`.
"""

_NAMES = (
    "community_alignment",
    "context_aware",
    "demo",
    "diffusion_demo",
    "gpm",
    "hybrid_routing",
    "more",
    "osp",
    "pal",
    "rag_rewardbench",
    "ranking_accuracy",
    "reward_models",
    "rrr",
    "selfie",
)

RECIPES: dict[str, str] = {name: f"assent.recipes.{name}" for name in _NAMES}
"""Names of the recipes and their modules; a test asserts that every file of the room is listed."""
