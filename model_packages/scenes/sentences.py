"""Captions of drawn scenes: writes the sentence that is true of a view, and reads what a sentence claims.

The phrasing follows from what is seen (there is one right sentence per view), so a model that reads the picture well
can be sure of its words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_packages.scenes.truth import Seen
from model_packages.scenes.vocabulary import SETTINGS, SUBJECTS, TIMES

NAMES = {subject: subject for subject in SUBJECTS} | {"balloon": "hot air balloon"}

DOING = {
    "sailboat": "sailing",
    "house": "standing",
    "person": "walking",
    "dog": "standing",
    "bird": "resting",
    "car": "parked",
    "tent": "pitched",
    "lighthouse": "rising",
    "balloon": "floating",
    "horse": "standing",
    "tree": "growing",
}

PLACES = {
    "beach": "on a sandy beach",
    "lake": "by a lake",
    "mountains": "in the mountains",
    "meadow": "in a green meadow",
    "snow": "in the snow",
    "forest": "in the forest",
    "city": "in the city",
    "desert": "in the desert",
}
PLACES_OF = {
    ("sailboat", "beach"): "off a sandy beach",
    ("sailboat", "lake"): "on a lake",
    ("car", "city"): "on a city street",
    ("balloon", "lake"): "over a lake",
    ("balloon", "mountains"): "over the mountains",
    ("balloon", "city"): "over the city",
    ("balloon", "meadow"): "over a green meadow",
    ("balloon", "desert"): "over the desert",
    ("person", "snow"): "through the snow",
    ("person", "forest"): "through the forest",
    ("lighthouse", "beach"): "above a sandy beach",
}

# The first that is seen closes the sentence.
CLOSINGS = (
    ("rainbow", "under a rainbow"),
    ("campfire", "beside a campfire"),
    ("stars", "under the stars"),
    ("fog", "in the fog"),
    ("moon", "under the moon"),
    ("umbrella", "near an umbrella"),
    ("cactus", "near a cactus"),
    ("flower", "among flowers"),
    ("mountain", "with mountains behind"),
)


def write(seen: Seen) -> str:
    """The caption of a view: lower case, words and commas, without a full stop."""
    turn = SUBJECTS.index(seen.subject) + SETTINGS.index(seen.setting) + TIMES.index(seen.time)
    place = PLACES_OF.get((seen.subject, seen.setting), PLACES[seen.setting])
    who = f"a {NAMES[seen.subject]}"
    if turn % 2:
        who += f" {DOING[seen.subject]}"
    if seen.time == "day":
        when = (
            "on a sunny day"
            if "sun" in seen.tags
            else "on a cloudy day"
            if "cloud" in seen.tags
            else "in daylight"
        )
    else:
        when = {"morning": "in the morning", "sunset": "at sunset", "night": "at night"}[seen.time]
    sentence = f"{who} {place} {when}" if turn % 3 else f"{who} {when} {place}"
    for tag, closing in CLOSINGS:
        if tag in seen.tags and not (tag == "mountain" and seen.setting == "mountains"):
            return f"{sentence}, {closing}"
    return sentence


@dataclass(frozen=True)
class Claim:
    """What a sentence says; "" where it says nothing."""

    subject: str
    setting: str
    time: str


_WORDS_OF_TIME = {"morning": "morning", "day": "day", "daylight": "day", "sunset": "sunset", "night": "night"}


def read(sentence: str) -> Claim:
    """The first subject, setting and time that a sentence names; its closing after the comma is not read."""
    words = re.findall(r"[a-z]+", sentence.lower().split(",")[0])
    subject = next((w for w in words if w in SUBJECTS), "")
    setting = next((w for w in words if w in SETTINGS), "")
    time = next((_WORDS_OF_TIME[w] for w in words if w in _WORDS_OF_TIME), "")
    return Claim(subject, setting, time)
