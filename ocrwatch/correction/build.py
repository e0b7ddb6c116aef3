"""Worker: how the installed llama-cpp-python was built. Only loads it and asks; no model, no device."""

from __future__ import annotations

from ocrwatch.errors import MissingPart
from ocrwatch.worker import child, sandbox


def start(_: child.Message) -> tuple[child.Message, dict[str, child.Handler]]:
    """The hello says it all."""
    sandbox.enter(sandbox.Policy(gpu=True))
    try:
        import llama_cpp  # not before the sandbox is entered
    except (ImportError, OSError, RuntimeError) as error:  # a library that it was linked with is gone: the last two
        raise MissingPart(f"{type(error).__name__}: {error}", "") from error
    return {"version": llama_cpp.__version__, "offload": bool(llama_cpp.llama_supports_gpu_offload())}, {}


if __name__ == "__main__":
    child.serve(start)
