"""D^2-Align on real digits: a reward with a planted bias collapses what is drawn, unless its direction is taken out.

The reward names the digit (class accuracy .98) and, of two digits of a class, favours the thicker one. Plain reward
gradients thicken every stroke and lose coverage; the corrected reward keeps the ink and more of the coverage.
"""

from __future__ import annotations

import numpy as np
import torch

from assent.preference_models.direction import guided_reward
from assent.recipes.digits.align import climb, train_biased_reward
from assent.recipes.digits.data import CLASSES, ink
from experiments._digits import measured, prepared

EXPECTED = {
    "reward: class accuracy": ".98",
    "plain: ink": ".382-.395",
    "plain: coverage": "184-189",
    "plain: accuracy": ".99-1.0",
    "d2: ink": ".301-.307",
    "d2: coverage": "214-229",
    "d2: accuracy": "1.0",
    "length of b": ".80-.93",
    "correlation of plain reward and ink": ".96",
    "correlation of corrected reward and ink": "-.5 to -.65",
    "class accuracy of the corrected reward": ".987",
}
CLAIMS = {
    "plain gradients move ink by more than .06": lambda r: r["plain: ink"] > r["base: ink"] + 0.06,
    "plain gradients lose a quarter of the coverage": lambda r: r["plain: coverage"] <= 0.75 * r["base: coverage"],
    "D2 keeps the ink within .02": lambda r: abs(r["d2: ink"] - r["base: ink"]) < 0.02,
    "D2 covers 20 more digits than plain": lambda r: r["d2: coverage"] >= r["plain: coverage"] + 20,
    "D2 is not less accurate": lambda r: r["d2: accuracy"] >= r["plain: accuracy"] - 0.01,
    "the corrected reward still reads the class": lambda r: r["class accuracy of the corrected reward"] >= 0.95,
}
QUICK = {"base_steps": 20, "steps": 4}


def run(seed: int, base_steps: int = 5000, steps: int = 60) -> dict[str, float]:
    bed = prepared(seed, base_steps)
    data, _, base = bed
    reward = train_biased_reward(data, seed)
    found = measured("base", base, bed)
    plain, corrected = (climb(base, reward, steps, guided, seed) for guided in (False, True))
    found |= measured("plain", plain.model, bed) | measured("d2", corrected.model, bed)
    assert corrected.direction is not None
    found["length of b"] = float(corrected.direction.norm())
    with torch.no_grad():
        features = reward.embed_images(data.test_images)
        classes = reward.embed_classes(torch.arange(CLASSES))
        own = classes[data.test_labels]
        pairs = {
            "plain": (features * own).sum(1),
            "corrected": guided_reward(features, own, corrected.direction),
        }
        found["reward: class accuracy"] = float(((features @ classes.T).argmax(1) == data.test_labels).float().mean())
        table = torch.stack(
            [guided_reward(features, row.expand_as(features), corrected.direction) for row in classes], dim=1
        )
    found["class accuracy of the corrected reward"] = float((table.argmax(1) == data.test_labels).float().mean())
    for name, values in pairs.items():
        within = [
            np.corrcoef(values[data.test_labels == c], ink(data.test_images)[data.test_labels == c])[0, 1]
            for c in range(CLASSES)
        ]
        found[f"correlation of {name} reward and ink"] = float(np.mean(within))
    return found
