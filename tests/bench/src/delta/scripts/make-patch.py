"""Usage: make-patch.py OLD NEW PATCH. Also sees that the patch makes NEW."""

import sys

import hdiffpatch


def content(path):
    with open(path, "rb") as file:
        return file.read()


old, new, patch = sys.argv[1:]
made = hdiffpatch.diff(content(old), content(new), hdiffpatch.Lzma2Config(level=9), validate=True)
with open(patch, "wb") as file:
    file.write(made)
