"""The model in the formats that the knobs ask for: each built when first wanted, then kept."""

from dataclasses import replace
from pathlib import Path
from threading import Lock

import torch

from engine.calibrated import has_int4, load_int4
from engine.config import EngineConfig, EngineError, Knobs
from engine.decoder import Decoder
from engine.kernels.build import NativeUnavailableError
from engine.kernels.native import NativeDecoder, NativeKernels, check_widths, kernels
from engine.model import TorchDecoder
from engine.tensors import DecoderTensors, Matrix, read_tensors, with_codes


class Formats:
    """Decoders by weight format and kernels. `prepare` may run beside a step that uses others.

    `native` are the native kernels, or None where they are not to be had here; `why_torch` says why
    then, else "".
    """

    def __init__(self, config: EngineConfig, knobs: Knobs) -> None:
        """Reads the model and builds what the knobs ask for.

        Raises ModelError, and EngineError for a device that cannot be used.
        """
        if config.threads:
            torch.set_num_threads(config.threads)
        try:
            self.device = torch.device(config.device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise EngineError(f"device {config.device!r} cannot be used: {reason}") from None
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self._config = config
        self._lock = Lock()
        self._built: dict[tuple[str, str], Decoder] = {}
        tensors = self._read()
        self.spec = tensors.spec
        self.max_context = tensors.max_context
        self.parameters = tensors.parameters
        self._embedding = tensors.embedding  # one table for all
        self.native: NativeKernels | None = None
        self.why_torch = ""
        try:
            self.native = self._find_native()
        except NativeUnavailableError as error:
            self.why_torch = str(error)
        knobs = self.effective(knobs)
        self._built[_key(knobs)] = self._build(knobs, tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of everything built, the one embedding table counted once."""
        table = self._embedding.untyped_storage().nbytes()
        built = list(self._built.values())
        return sum(decoder.nbytes for decoder in built) - table * (len(built) - 1)

    def effective(self, knobs: Knobs) -> Knobs:
        """The knobs as they can be had here: torch kernels where there are no native ones."""
        return replace(knobs, kernels="torch") if self.why_torch else knobs

    def ready(self, knobs: Knobs) -> bool:
        """Whether `get` would find it built."""
        return _key(knobs) in self._built

    def prepare(self, knobs: Knobs) -> None:
        """Build what these knobs ask for, once. Raises ModelError."""
        with self._lock:
            if not self.ready(knobs):
                # Read anew: to hold the tensors themselves would double what is held.
                tensors = replace(self._read(), embedding=self._embedding)
                if self.spec.tied:
                    tensors = replace(tensors, head=Matrix(self._embedding))
                self._built[_key(knobs)] = self._build(knobs, tensors)

    def get(self, knobs: Knobs) -> Decoder:
        """The decoder for these (effective) knobs; built now where it has not been.

        One that is there is given at once, whatever another thread is building.
        """
        if not self.ready(knobs):
            self.prepare(knobs)
        return self._built[_key(knobs)]

    def _read(self) -> DecoderTensors:
        config = self._config
        return read_tensors(Path(config.model), self.dtype, self.device, config.max_context)

    def _build(self, knobs: Knobs, tensors: DecoderTensors) -> Decoder:
        folder = Path(self._config.model)
        if knobs.weights == "int4" and has_int4(folder):
            tensors = with_codes(tensors, load_int4(folder))
        if knobs.kernels == "native" and self.native is not None:
            return NativeDecoder(tensors, knobs.weights, self.native)
        return TorchDecoder(tensors, knobs.weights)

    def _find_native(self) -> NativeKernels:
        if self.device.type != "cpu":
            raise NativeUnavailableError("native kernels are for the CPU")
        check_widths(self.spec, self.dtype)
        return kernels(torch.get_num_threads())


def _key(knobs: Knobs) -> tuple[str, str]:
    return knobs.weights, knobs.kernels
