"""The texts that are spoken: written for these measurements, of mixed length, about 105 s of audio together."""

from __future__ import annotations

TEXTS = (
    "The ferry leaves at seven. Please be at the pier ten minutes earlier.",
    "Your parcel has arrived. It is with the neighbours on the second floor, who are at home until six.",
    "Rain is expected in the north, while the south stays dry and warm until the evening.",
    "The kitchen closes in half an hour. Last orders, please! The bar stays open until midnight, as always.",
    "Chapter one. The house at the end of the lane had been empty for eleven years, and nobody could say why.",
    "Battery low. Please connect the charger, or save your work and close the lid within the next ten minutes.",
    "Turn left after the bridge, then follow the river for two miles until you see the mill.",
    "The meeting has moved to Thursday. Everything else stays as it was.",
    "Mix the flour with a pinch of salt, add the eggs one by one, and stir until the dough is smooth.",
    "Somebody is at the front door. It may be the plumber, who was to come between eight and noon.",
    (
        "In spring the orchard bloomed so early that the bees were late, and the old gardener shook his head "
        "and said that no good would come of it."
    ),
    "The library is open from nine to six. On Saturdays it closes at noon.",
    "The washing machine has finished. The dryer needs another twenty minutes, and its filter should be cleaned.",
    "The second runner is already in sight, with barely a minute between them. What a race this has turned out to be!",
    "Remember to water the plants in the hall, and not the cactus, which had its share a week ago.",
    "Our museum holds four thousand clocks, and not one of them tells the same time. Please do not wind them.",
    "Attention, please. The train on platform two is delayed by about fifteen minutes.",
    "She wrote every day, though he never answered, and kept the letters in a box beneath the stairs.",
    "Good evening. Here is the news in brief: the strike is over, the harbour is open, and the fish is cheap again.",
    "That is all for today. Tomorrow we shall speak about the sea. Sleep well.",
)


def long_text(sentences: int) -> str:
    """A text of this many different sentences, in paragraphs of ten; each about 5 seconds long."""
    subjects = ("The captain", "A traveller", "The younger sister", "An old friend", "The clockmaker", "Nobody here")
    verbs = ("remembered", "described", "had forgotten", "painted", "looked for", "wrote down")
    objects = ("the colour of the harbour", "the road over the hills", "a song from the mountains", "the first winter")
    ends = ("before the lamps were lit", "while the others slept", "as if it had been yesterday")
    lines = []
    for number in range(sentences):
        sentence = (
            f"{subjects[number % 6]} {verbs[number // 6 % 6]} {objects[number // 36 % 4]} "
            f"{ends[number // 144 % 3]}, in the story with the number {number}."
        )
        lines.append(sentence + ("\n\n" if number % 10 == 9 else " "))
    return "".join(lines)
