"""Settings of a command: frozen dataclasses, filled from YAML overlays, the environment and the command line.

    @dataclass(frozen=True, kw_only=True)
    class TrainSettings:
        lr: float = 1e-3
        '''The text under a field is its help.'''
        freeze_backbone: bool = setting(False, env="FREEZE_BACKBONE")
        loss: LossSettings = field(default_factory=LossSettings)

        def __post_init__(self):
            if self.lr <= 0:
                raise ValueError(f"lr: expected a number > 0, got {self.lr}")

    settings = parse(TrainSettings, sys.argv[1:], prog="my-package train", configs=Path(__file__).parent / "configs")

| on the command line                  | means                                                                |
|--------------------------------------|----------------------------------------------------------------------|
| `--lr 1e-4 --lr=1e-4 --use_actions`  | a flag; `_` and `-` are the same                                     |
| `--tags a b --tags c`, `--tags=a`    | a list; given again, it goes on                                      |
| `loss.scale_weight=0.1`              | the same by dotted name; lists as in YAML: `widths=[1,2]`            |
| `loss=depth`                         | overlay configs/loss/depth.yaml (a group)                            |
| `--config NAME`, `--config PATH`     | overlay configs/NAME.yaml, or any file; repeatable, later wins       |
| `--print_config`, `--help`           | print the resolved settings, or what there is to set, and exit       |

Defaults < YAML files and groups in the order given < environment < `name=value` < flags. A group file is an ordinary
overlay of all settings; inside a YAML file it is chosen by `loss: depth`. Checks run once, on the result.
Fields are bool, int, float, str, Path, Literal, tuple, optionals of these, and nested dataclasses; all have a default.

`fields` knows the classes, `files` the YAML, `command_line` the arguments; `checks` holds what every training
and every comparison of trainings can set.
"""

from drivelab_shared.settings.checks import EngineSettings, SweepSettings, require
from drivelab_shared.settings.command_line import parse
from drivelab_shared.settings.fields import changes, flatten, setting
from drivelab_shared.settings.files import dump, load

__all__ = ["EngineSettings", "SweepSettings", "changes", "dump", "flatten", "load", "parse", "require", "setting"]
