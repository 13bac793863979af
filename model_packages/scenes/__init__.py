"""Procedurally drawn scenes with an exactly known truth, for training and measuring the reference packages.

Needs Pillow and numpy only, imports nothing of crema, and is never imported by a served model.
"""

from model_packages.scenes.scene import draw_scene
from model_packages.scenes.truth import Seen, Truth
from model_packages.scenes.vocabulary import SETTINGS, SUBJECTS, TAGS, TIMES

__all__ = ["SETTINGS", "SUBJECTS", "TAGS", "TIMES", "Seen", "Truth", "draw_scene"]
