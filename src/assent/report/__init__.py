"""Plots and the self-contained HTML report."""

from assent.report.figures import histogram, interval_chart, line_chart
from assent.report.page import Report
from assent.report.run import write_run_report

__all__ = ["Report", "histogram", "interval_chart", "line_chart", "write_run_report"]
