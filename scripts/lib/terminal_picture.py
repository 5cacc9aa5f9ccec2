"""Runs `ziyu demo` and writes its last view and its ledger, as a terminal shows them, as a picture.

    terminal_picture.py PICTURE ZIYU demo OPTION...

Needs rich; scripts/demo-picture runs it. Exit code: that of the demo.
"""

import fcntl
import io
import os
import re
import select
import struct
import subprocess
import sys
import termios

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS, ROWS = 92, 40
# Background, text, the eight colours, their bright forms.
THEME = TerminalTheme(
    (13, 17, 23), (230, 237, 243),
    [(13, 17, 23), (255, 123, 114), (63, 185, 80), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (230, 237, 243)],
    [(139, 148, 158), (255, 123, 114), (63, 185, 80), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (255, 255, 255)])
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, 'Noto Sans Mono CJK SC', monospace"


def terminal():
    """The two ends of a terminal of COLUMNS x ROWS: ours, and the program's."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return ours, theirs


def run(command):
    """Runs `command`; its exit code and what it wrote to standard output and standard error."""
    out, out_end = terminal()
    err, err_end = terminal()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, stdout=out_end, stderr=err_end, env=environment) as child:
        os.close(out_end)
        os.close(err_end)
        said = {out: b"", err: b""}
        open_ends = [out, err]
        while open_ends:
            for end in select.select(open_ends, [], [])[0]:
                try:
                    block = os.read(end, 65536)
                except OSError:  # EIO: the program has closed it
                    block = b""
                if not block:
                    open_ends.remove(end)
                said[end] += block
                os.write(2, block)
    return child.returncode, *(said[x].decode("utf-8").replace("\r\n", "\n") for x in (out, err))


def last_view(text):
    """The lines of the last frame of the run with healing, without its moves of the cursor."""
    healed = text.split("For comparison")[0]
    frames = re.findall(r"\x1b\[\?25l\x1b\[\?7l\r(.*?)\x1b\[J\x1b\[\?7h", healed, re.S)
    if not frames:
        sys.exit("terminal_picture.py: the demo has drawn no view")
    return re.sub(r"\x1b\[\d+A|\x1b\[2K", "", frames[-1]).rstrip("\n").split("\n")


def picture(lines):
    """The lines as an SVG document that loads nothing."""
    console = Console(record=True, width=COLUMNS + 1, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop")
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
    form = re.sub(r"font-family: (Fira Code, monospace|arial);", f"font-family: {FONTS};", form)
    return console.export_svg(title="ziyu demo", theme=THEME, code_format=form, unique_id="demo")


def main():
    file, command = sys.argv[1], sys.argv[2:]
    code, ledger, view = run(command)
    if code == 0:
        shown = [x for x in command[1:] if not x.endswith(".svg") and x != "--chart"]
        lines = ["$ ziyu " + " ".join(shown), "", *last_view(view), "", *ledger.rstrip().split("\n")]
        with open(file, "w", encoding="utf-8") as out:
            out.write(picture(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
