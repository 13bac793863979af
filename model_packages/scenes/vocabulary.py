"""The closed word lists of the drawn world: things with pixels, tags, subjects, settings and times of day."""

from __future__ import annotations

TIMES = ("morning", "day", "sunset", "night")

SETTINGS = ("beach", "lake", "mountains", "meadow", "snow", "forest", "city", "desert")

SUBJECTS = (
    "sailboat",
    "house",
    "person",
    "dog",
    "bird",
    "car",
    "tent",
    "lighthouse",
    "balloon",
    "horse",
    "tree",
)

# Which subjects may stand in which setting (named twice: twice as likely). A sailboat needs water, a lighthouse a coast.
SUBJECTS_IN = {
    "beach": (
        "sailboat",
        "sailboat",
        "lighthouse",
        "lighthouse",
        "lighthouse",
        "person",
        "dog",
        "bird",
        "horse",
    ),
    "lake": ("sailboat", "sailboat", "house", "person", "bird", "tent", "balloon", "tree"),
    "mountains": ("house", "house", "tent", "balloon", "person", "horse", "car"),
    "meadow": ("house", "horse", "tree", "balloon", "dog", "car", "person", "tent"),
    "snow": ("house", "person", "dog", "tree", "tent", "bird", "car"),
    "forest": ("tent", "person", "horse", "dog", "house", "car", "bird"),
    "city": ("car", "person", "dog", "bird", "balloon", "tree", "horse"),
    "desert": ("car", "person", "horse", "tent", "balloon", "bird"),
}

# Every thing that owns pixels. Its place in this list is its number in the id buffer; 0 is "nothing in particular".
THINGS = (
    "nothing",
    "sun",
    "moon",
    "star",
    "cloud",
    "rainbow",
    "mountain",
    "sea",
    "sand",
    "lake",
    "grass",
    "snow",
    "woods",
    "tree",
    "palm",
    "building",
    "road",
    "dune",
    "cactus",
    "rock",
    "flower",
    "fence",
    "umbrella",
    "campfire",
    "sailboat",
    "house",
    "person",
    "dog",
    "bird",
    "car",
    "tent",
    "lighthouse",
    "balloon",
    "horse",
)
# Added to a thing's number where the pixel belongs to the scene's main subject.
MAIN = 64
THING_ID = {name: number for number, name in enumerate(THINGS)}

# tag: (the things whose visible pixels are counted together, pixels needed in a 224 x 224 view)
TAGS_FROM_PIXELS = {
    "beach": (("sand",), 1500),
    "bird": (("bird",), 60),
    "boat": (("sailboat",), 70),
    "cactus": (("cactus",), 90),
    "campfire": (("campfire",), 60),
    "car": (("car",), 90),
    "city": (("building",), 1500),
    "cloud": (("cloud",), 250),
    "desert": (("dune",), 1500),
    "dog": (("dog",), 90),
    "fence": (("fence",), 150),
    "flower": (("flower",), 70),
    "forest": (("woods",), 2500),
    "horse": (("horse",), 90),
    "hot air balloon": (("balloon",), 90),
    "house": (("house",), 120),
    "lake": (("lake",), 1500),
    "lighthouse": (("lighthouse",), 90),
    "meadow": (("grass",), 2500),
    "moon": (("moon",), 40),
    "mountain": (("mountain",), 1200),
    "palm tree": (("palm",), 120),
    "person": (("person",), 70),
    "rainbow": (("rainbow",), 250),
    "road": (("road",), 700),
    "rock": (("rock",), 100),
    "sea": (("sea",), 1200),
    "snow": (("snow",), 1500),
    "stars": (("star",), 30),
    "sun": (("sun",), 60),
    "tent": (("tent",), 120),
    "tree": (("tree", "palm", "woods"), 180),
    "umbrella": (("umbrella",), 80),
}

# A time of day and fog are properties of the whole picture.
TAGS = tuple(sorted([*TAGS_FROM_PIXELS, *TIMES, "fog"]))
