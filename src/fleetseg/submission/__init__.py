"""Predictions in the form that a benchmark's server takes: written, checked and scored before anything is uploaded."""

from fleetseg.submission.archive import SubmittedFiles
from fleetseg.submission.checking import check_submission
from fleetseg.submission.cityscapes_scores import CityscapesScores, score_cityscapes
from fleetseg.submission.formats import FORMATS, SubmissionFormat, format_named
from fleetseg.submission.writing import write_submission

__all__ = [
    "FORMATS",
    "CityscapesScores",
    "SubmissionFormat",
    "SubmittedFiles",
    "check_submission",
    "format_named",
    "score_cityscapes",
    "write_submission",
]
