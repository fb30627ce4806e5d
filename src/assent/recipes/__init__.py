"""One file per paper: its story told by calling the rooms.

A recipe is a module with a docstring, which is the story, and `main(arguments)`.
"""

RECIPES: dict[str, str] = {
    "demo": "assent.recipes.demo",
    "diffusion_demo": "assent.recipes.diffusion_demo",
    "osp": "assent.recipes.osp",
    "selfie": "assent.recipes.selfie",
}
"""Names of the recipes and their modules; a test asserts that every file of the room is listed."""
