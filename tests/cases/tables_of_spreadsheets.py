"""Tables of captions as spreadsheets, editors and scripts of several countries save them."""

from __future__ import annotations

from collections.abc import Mapping

TABLES: Mapping[str, tuple[str, str]] = {
    "a blank after each comma": ("metadata.csv", 'file_name, text\nfox.mp4, "a fox, red"\n'),
    "capital letters": ("metadata.csv", 'File_Name,Text\nfox.mp4,"a fox, red"\n'),
    "a byte order mark": ("metadata.csv", '\ufefffile_name,text\nfox.mp4,"a fox, red"\n'),
    "semicolons": ("metadata.csv", "file_name;text\nfox.mp4;a fox, red\n"),
    "tabs": ("metadata.csv", "file_name\ttext\nfox.mp4\ta fox, red\n"),
    "ends of lines of Windows": ("metadata.csv", 'file_name,text\r\nfox.mp4,"a fox, red"\r\n'),
    "quoted names": ("metadata.csv", '"file_name","text"\n"fox.mp4","a fox, red"\n'),
    "blanks in JSON": ("metadata.jsonl", '{"file_name ": "fox.mp4", " Text": "a fox, red"}\n'),
}
"""By what is seen: the name of the file and its content, for a clip ``fox.mp4``."""
CAPTION = "a fox, red"
