"""The documentation's option tables: ``python -m animatediff.apps.option_tables`` prints them."""

from __future__ import annotations

from animatediff.apps.animate import AnimateOptions
from animatediff.apps.declared import all_options
from animatediff.options.declaration import declared
from animatediff.options.tables import option_tables
from animatediff.sampling.request import AnimationRequest


def animate_tables(*, level: int = 3) -> str:
    """The options of ``animatediff animate`` as Markdown, a table for each group."""
    return option_tables(
        all_options(AnimateOptions), fields=declared(AnimationRequest), level=level
    )


if __name__ == "__main__":
    print(animate_tables())
