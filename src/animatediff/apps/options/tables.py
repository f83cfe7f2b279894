"""The documentation's option tables: ``python -m animatediff.apps.options.tables`` prints them."""

from __future__ import annotations

from animatediff.apps.commands.animate import AnimateOptions
from animatediff.apps.commands.train import TrainOptions
from animatediff.apps.options.declared import all_options
from animatediff.options.declaration import declared
from animatediff.options.tables import option_tables
from animatediff.sampling.request import AnimationRequest
from animatediff.training.recipe import Recipe
from animatediff.training.stages.option_groups import GROUPS


def animate_tables(*, level: int = 3) -> str:
    """The options of ``animatediff animate`` as Markdown, a table for each group."""
    return option_tables(
        all_options(AnimateOptions), fields=declared(AnimationRequest), level=level
    )


def train_tables(*, level: int = 3) -> str:
    """The options of ``animatediff train`` as Markdown, a table for each group."""
    fields = [row for cls in (*GROUPS, Recipe) for row in declared(cls)]
    return option_tables(all_options(TrainOptions), fields=fields, level=level)


if __name__ == "__main__":
    print("# animatediff animate\n\n" + animate_tables(level=2))
    print("# animatediff train\n\n" + train_tables(level=2))
