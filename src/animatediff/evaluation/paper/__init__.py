"""The paper's experiments as pages and plots, written from ``results/*.json`` and never by hand."""
