"""What a request says to `spark-submit`: its options, the program and the program's arguments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FLAGS = {"--verbose", "-v", "--supervise", "--usage-error", "--version", "--help"}
OURS = {"--master", "--deploy-mode", "--archives"}
"""Options that the service decides itself, or carries out before Spark starts."""
DRIVER_ENVIRONMENT = ("spark.emr-serverless.driverEnv.", "spark.yarn.appMasterEnv.")
ARCHIVES = "spark.archives"


@dataclass(frozen=True)
class Submission:
    """A job in Spark's words; of an option that is there twice the last counts."""

    options: tuple[tuple[str, str], ...]
    entry_point: str
    arguments: tuple[str, ...]

    @classmethod
    def of(
        cls,
        parameters: Iterable[str],
        entry_point: str | None = None,
        arguments: Iterable[str] = (),
        defaults: Mapping[str, str] | None = None,
    ) -> "Submission":
        """Read options, and the program after them unless it is given.

        Raises:
            ValueError: an option has no value, or there is no program.
        """
        options = [("--conf", f"{key}={value}") for key, value in (defaults or {}).items()]
        rest = list(parameters)
        while rest and rest[0].startswith("-"):
            name, equals, value = rest.pop(0).partition("=")
            if name in FLAGS:
                continue
            if not equals and not rest:
                raise ValueError(f"option {name} has no value")
            options.append((name, value if equals else rest.pop(0)))
        program = [*([entry_point] if entry_point else []), *rest, *arguments]
        if not program:
            raise ValueError("no program to run")
        return cls(tuple(options), program[0], tuple(program[1:]))

    @property
    def conf(self) -> dict[str, str]:
        """Spark's settings."""
        pairs = (value.partition("=") for name, value in self.options if name in ("--conf", "-c"))
        return {key: value for key, _, value in pairs}

    def option(self, name: str, default: str = "") -> str:
        """An option's value."""
        return dict(self.options).get(name, default)

    @property
    def archives(self) -> list[tuple[str, str]]:
        """Archives to unpack and the name of the folder of each, both as the option has them."""
        named = self.option("--archives") or self.conf.get(ARCHIVES, "")
        pairs = (item.strip().partition("#") for item in named.split(",") if item.strip())
        return [(uri, folder or uri.rpartition("/")[2]) for uri, _, folder in pairs]

    @property
    def driver_environment(self) -> dict[str, str]:
        """Variables that the driver gets."""
        return {
            key.removeprefix(prefix): value
            for key, value in self.conf.items()
            for prefix in DRIVER_ENVIRONMENT
            if key.startswith(prefix)
        }

    def command(self, own: Mapping[str, str]) -> list[str]:
        """The words after `spark-submit`; the service's `own` settings go before all others."""
        said = [
            word
            for name, value in self.options
            if name not in OURS and not value.startswith(f"{ARCHIVES}=")
            for word in (name, value)
        ]
        forced = [word for key, value in own.items() for word in ("--conf", f"{key}={value}")]
        memory = own["spark.driver.memory"]
        options = [*said, *forced, "--master", own["spark.master"], "--driver-memory", memory]
        return [*options, self.entry_point, *self.arguments]
