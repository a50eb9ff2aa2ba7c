"""int8 after training: calibration on the user's images, sensitivity by layer, and layers that stay float.

OpenVINO files are quantised by NNCF, LiteRT files by ai-edge-quantizer; ONNX files here, for the integer kernels that
ONNX Runtime has.
"""

from fleetseg.quantise.quantised_export import Int8Request, can_quantise, export_int8
from fleetseg.quantise.report import QuantisationReport, as_table

__all__ = ["Int8Request", "QuantisationReport", "as_table", "can_quantise", "export_int8"]
