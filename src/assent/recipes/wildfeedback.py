"""WildFeedback: learning from what users complained of in logged conversations.

Shi et al. 2024, arXiv 2408.15549. Who has logs and no ratings goes like this:

1. A model reads each user turn and says which signals of satisfaction or complaint it holds.
2. From a complaint it writes down what this user wants, as short instructions.
3. The answer complained of is rejected; the chosen one is written for the same prompt under these wishes, which are
   not kept in the prompt. With `--on-policy` both answers are the policy's own, and a judge who has the wishes must
   prefer the chosen one.
4. The policy is trained on the chosen answers, then by DPO on the pairs.

    assent recipe run wildfeedback --logs chats.jsonl --model annotator --policy chat-model --output wild

Half of all complaints go unnoticed, so silence is no praise: only complaints give pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assent.building.built import Built
from assent.building.conversations import read_conversations
from assent.building.models import LOCAL
from assent.building.wildfeedback import Miner, mine
from assent.recipes.asking_parts import asking, loop_of, models_of, sampling_of, trained_in_turn, training_options


def main(arguments: Sequence[str]) -> None:
    """Mines the logs and trains on what was found."""
    parser = asking("wildfeedback", "Preferences from complaints in conversations.")
    training_options(parser)
    parser.add_argument("--logs", required=True, type=Path, help="JSONL of whole chats (`messages`)")
    parser.add_argument("--model", required=True, help="annotates, writes wishes and better answers, and judges")
    parser.add_argument("--on-policy", action="store_true", help="both answers are the policy's own")
    parser.add_argument("--most", type=int, default=2, help="complaints used of one conversation")
    given = parser.parse_args(list(arguments))
    if given.on_policy and not given.policy:
        parser.error("--on-policy needs a --policy")
    loop, conversations = loop_of(given), read_conversations(given.logs)
    with models_of(given) as models:
        policy = models.generator(f"{LOCAL}{given.policy}") if given.on_policy else None
        miner = Miner.of(models.generator(given.model), sampling_of(given), policy, given.most)

        def pairs() -> Built:
            found = mine(conversations, miner)
            print(f"signals: {dict(sorted(found.signals.items()))}")
            return found.built

        loop.built("pairs.jsonl", pairs)
    if given.policy:
        steps = {"sft": ("pairs.jsonl", {"sft": {}}), "dpo": ("pairs.jsonl", {"dpo": {"beta": 0.1}})}
        trained_in_turn(loop, given.policy, steps)
