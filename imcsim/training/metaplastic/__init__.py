"""Learn task after task without forgetting: hidden weights resist being moved, and cells hold their levels.

After Laborieux et al., Nature Communications 2021 (arXiv 2003.03533, their public code), and D'Agostino et al., AICAS
2023 (arXiv 2306.12142, abstract and summaries only).
"""

from imcsim.training.metaplastic.rules import RULES, RuleSpec, load_rule
from imcsim.training.metaplastic.tasks import Images, LearningTask, permuted, split
from imcsim.training.metaplastic.training import Learned, Options, learn

__all__ = [
    "RULES",
    "Images",
    "Learned",
    "LearningTask",
    "Options",
    "RuleSpec",
    "learn",
    "load_rule",
    "permuted",
    "split",
]
