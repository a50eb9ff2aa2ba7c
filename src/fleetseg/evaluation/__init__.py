"""Predictor and data set in, report out: exact sums over the whole split, divided once."""

from fleetseg.evaluation.choosing import Choice
from fleetseg.evaluation.grouping import Grouping, read_grouping
from fleetseg.evaluation.matching import Matching, class_table, match_classes
from fleetseg.evaluation.measures import METRICS, Measures, check_metrics
from fleetseg.evaluation.report import Comparison, Evaluation, ImageScore, percent
from fleetseg.evaluation.resized import Resized
from fleetseg.evaluation.running import ConfidentPredictor, Predictor, evaluate

__all__ = [
    "METRICS",
    "Choice",
    "Comparison",
    "ConfidentPredictor",
    "Evaluation",
    "Grouping",
    "ImageScore",
    "Matching",
    "Measures",
    "Predictor",
    "Resized",
    "check_metrics",
    "class_table",
    "evaluate",
    "match_classes",
    "percent",
    "read_grouping",
]
