"""``python -m ovnloom.sandbox``: what ``./loom`` runs."""

from __future__ import annotations

from ovnloom.sandbox.cli import main

if __name__ == "__main__":
    main()
