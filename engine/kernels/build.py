"""Building the native kernels: once on first use, kept by source, compiler and CPU.

A wheel that carried them would have to be built for the oldest CPU it meets, or for several;
a C compiler builds them in seconds for the very one that runs them. Where that is not to be had
the torch kernels go on, and it is said why.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from ctypes import CDLL
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
FLAGS = (
    *("-O3", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
    # Rounds alike in every block of rows: only what is written as fused is fused.
    "-ffp-contract=off",
)
TIMEOUT_SECONDS = 120


class NativeUnavailableError(Exception):
    """The native kernels cannot be had on this machine; one line that says why."""


def load_library(target: str = "native") -> CDLL:
    """The kernels, built for this CPU, or for an x86-64 level such as "x86-64-v3".

    Raises NativeUnavailableError; what a compiler says is kept in a log that the error names.
    """
    compiler, built = _wanted(target)
    if not _whole(built):
        _build(compiler, target, built)
    try:
        return CDLL(str(built))
    except OSError as error:
        raise NativeUnavailableError(f"{built} cannot be loaded: {error}") from None


def is_to_be_built(target: str = "native") -> bool:
    """Whether `load_library` will take the seconds that a build takes."""
    try:
        return not _whole(_wanted(target)[1])
    except NativeUnavailableError:
        return False


def _wanted(target: str) -> tuple[list[str], Path]:
    """The compiler, and where what it builds for this target is kept."""
    _check_cpu()
    compiler = _compiler()
    return compiler, cache_folder() / f"kernels-{_fingerprint(compiler, target)}.so"


def cache_folder() -> Path:
    """Where built kernels are kept: $XDG_CACHE_HOME/pitwall or ~/.cache/pitwall."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "pitwall"


def _whole(built: Path) -> bool:
    """Whether it is there as it was written: to load a file that was cut off kills the process."""
    try:
        return built.with_suffix(".sum").read_text(encoding="ascii") == _sum(built)
    except (OSError, UnicodeDecodeError):
        return False


def _sum(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _check_cpu() -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        raise NativeUnavailableError(f"native kernels are for x86-64, not {platform.machine()}")
    missing = {"avx2", "fma", "f16c"} - _cpu_flags()
    if missing:
        raise NativeUnavailableError(f"this CPU has no {', '.join(sorted(missing))}")


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        raise NativeUnavailableError("native kernels are built on Linux only") from None
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())


def _compiler() -> list[str]:
    """$CC, which may have options of its own, or cc."""
    command = shlex.split(os.environ.get("CC") or "cc")
    path = shutil.which(command[0]) if command else None
    if path is None:
        raise NativeUnavailableError(f"no C compiler called {' '.join(command)!r} is installed")
    return [path, *command[1:]]


def _fingerprint(compiler: list[str], target: str) -> str:
    """Names a build by all that it depends on."""
    digest = hashlib.blake2b(digest_size=12)
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    parts = (*compiler, target, " ".join(FLAGS), " ".join(sorted(_cpu_flags())))
    digest.update("\0".join(parts).encode())
    return digest.hexdigest()


def _build(compiler: list[str], target: str, built: Path) -> None:
    log = built.with_suffix(".log")
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        # Under another name until it is whole: two processes may build at once.
        handle, name = tempfile.mkstemp(dir=built.parent, suffix=".so")
        os.close(handle)
    except OSError as error:
        raise NativeUnavailableError(
            f"{built.parent} cannot be written: {error.strerror}"
        ) from None
    command = [*compiler, *FLAGS, f"-march={target}", "-o", name, str(SOURCES / "forward.c"), "-lm"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        if done.returncode:
            log.write_text(f"{' '.join(command)}\n{done.stderr}", encoding="utf-8")
            raise NativeUnavailableError(f"{compiler[0]} cannot build them, see {log}")
        total = _sum(Path(name))
        os.replace(name, built)
        built.with_suffix(".sum").write_text(total, encoding="ascii")
    except subprocess.TimeoutExpired:
        raise NativeUnavailableError(
            f"{compiler[0]} took longer than {TIMEOUT_SECONDS} s to build them"
        ) from None
    except OSError as error:
        raise NativeUnavailableError(f"they cannot be built: {error}") from None
    finally:
        Path(name).unlink(missing_ok=True)
