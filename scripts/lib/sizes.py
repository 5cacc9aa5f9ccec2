"""Lists what cannot be read in one sitting, or not without a wide window.

    sizes.py FILE...

These are files above 600 lines, functions above 70, and lines above 100 columns; exit code 1 if
there is one. A function is recognised by the form that clang-format gives it: a line at a fixed
indentation that ends with "{", up to the next line that is "}" at the same indentation.
"""

import re
import sys

MAX_FILE, MAX_FUNCTION, MAX_COLUMNS = 600, 70, 100
# Not a namespace, a type, an initialiser or a statement.
NO_FUNCTION = re.compile(
    r"^\s*(namespace|class|struct|enum|union|extern|if|for|while|switch|else|do|try)\b|=\s*\{$"
)


def functions(lines):
    """Yields (first line, number of lines) of each function."""
    open_at = {}
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\n")
        indent = len(text) - len(text.lstrip())
        if indent not in (0, 2):
            continue
        if text.strip() in ("}", "};") and indent in open_at:
            first = open_at.pop(indent)
            if first:
                yield first, number - first + 1
        elif text.endswith("{"):
            open_at[indent] = number if ")" in text and not NO_FUNCTION.search(text) else 0


def main(names):
    found = 0
    for name in names:
        with open(name, encoding="utf-8") as file:
            lines = file.readlines()
        if len(lines) > MAX_FILE:
            print(f"{name}: {len(lines)} lines, above {MAX_FILE}: split the file")
            found += 1
        for first, count in functions(lines) if name.endswith((".cpp", ".hpp")) else ():
            if count > MAX_FUNCTION:
                print(
                    f"{name}:{first}: a function of {count} lines, above {MAX_FUNCTION}:"
                    " split the function"
                )
                found += 1
        for number, line in enumerate(lines, 1):
            if len(line.rstrip("\n")) > MAX_COLUMNS:
                print(f"{name}:{number}: above {MAX_COLUMNS} columns: break the line")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
