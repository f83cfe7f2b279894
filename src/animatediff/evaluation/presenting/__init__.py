"""How results are shown: Markdown tables, labelled pictures and self-contained HTML pages."""
