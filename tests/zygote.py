"""``python -m colasearch...`` in processes that need not import torch and transformers again (seconds each).

``Zygote`` is the tests' side. Within it, ``subprocess.Popen`` of this Python with ``-m colasearch...`` asks the other
side, this file as a program, which has imported everything and computed nothing, to fork. The new process has its own
arguments, environment, folder and standard streams, becomes a child of the process that asked, and runs its exit
handlers as it ends. What it cannot show is what a command imports: for that start a process with ``-c``, which is left
alone.

With ``NESTED`` in its environment such a process can ask, too: it has a forking process of its own, a child named
``zygote``. So it is with pytest-xdist's processes, which are forked, too: all that a run starts shares one set of
imports.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

NESTED = "NESTED_ZYGOTE"
WORKER = ["-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"]
"""Arguments of a process of pytest-xdist, as ``execnet.gateway_io`` starts it."""
HEAVY = (
    *("huggingface_hub", "openai", "peft", "scipy.optimize", "scipy.stats", "uvicorn", "starlette.applications"),
    *("gguf", "hypothesis", "jsonschema", "latex2sympy2_extended", "math_verify", "requests"),
)
"""What only some tests or commands import, and takes long."""
SET_NAME = 15
"""``PR_SET_NAME``."""
SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER``: whose parent ends becomes a child of the nearest process above that has asked for it."""


class Zygote:
    """Within this context manager processes are forked where they can be; nothing starts before the first."""

    def __init__(self, server: socket.socket | None = None) -> None:
        """``server`` leads to a process that forks already."""
        self._popen = subprocess.Popen
        self._server: subprocess.Popen[bytes] | None = None
        self._socket = server
        self._lock = threading.Lock()

    def __enter__(self) -> Zygote:
        zygote = self

        class Popen(subprocess.Popen):  # type: ignore[type-arg]
            """As its base, but for the way in which some processes begin."""

            def _execute_child(self, *given: Any) -> None:
                names = self._execute_child_names
                values = dict(zip(names, given, strict=True))
                if not zygote.can(values):
                    super()._execute_child(*given)
                    return
                self.pid = zygote.fork(values)
                self._child_created = True
                pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
                self._close_pipe_fds(*(values[name] for name in pipes))

        code = subprocess.Popen._execute_child.__code__  # type: ignore[attr-defined]
        Popen._execute_child_names = code.co_varnames[1 : code.co_argcount]  # type: ignore[attr-defined]
        subprocess.Popen = Popen  # type: ignore[misc]
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.Popen = self._popen  # type: ignore[misc]
        if self._server is not None and self._socket is not None:
            self._socket.close()
            self._server.wait()

    @staticmethod
    def is_here() -> bool:
        """Whether this process has one, as those of pytest-xdist have."""
        return hasattr(subprocess.Popen, "_execute_child_names")

    def can(self, values: dict[str, Any]) -> bool:
        """Whether a process is one of ours to fork."""
        args = values["args"]
        if not isinstance(args, (list, tuple)) or len(args) < 3:
            return False
        if args[0] == sys.executable and list(args[1:]) == WORKER:
            return True
        plain = values["executable"] in (None, args[0]) and not any(
            values[name] for name in ("shell", "preexec_fn", "pass_fds")
        )
        ours = str(args[2]).startswith(("colasearch", "test_"))
        return plain and args[0] == sys.executable and args[1] == "-m" and ours

    def fork(self, values: dict[str, Any]) -> int:
        """Have a process forked; returns its id."""
        request = {
            "args": list(map(str, values["args"][2:])),
            "cwd": os.fspath(values["cwd"] or os.getcwd()),
            "env": dict(os.environ if values["env"] is None else values["env"]),
            "session": values["start_new_session"],
            "parent": os.getpid(),
        }
        if values["args"][1:] == WORKER:
            request["env"][NESTED] = "1"
        wanted = (values["p2cread"], values["c2pwrite"], values["errwrite"])
        streams = [number if given == -1 else given for number, given in enumerate(wanted)]
        with self._lock:
            server = self._start()
            text = json.dumps(request).encode()
            prctl = ctypes.CDLL(None).prctl
            prctl(SUBREAPER, 1)
            try:
                socket.send_fds(server, [len(text).to_bytes(4, "big")], streams)
                server.sendall(text)
                return int.from_bytes(_read(server, 4), "big")
            finally:
                prctl(SUBREAPER, 0)  # what other processes leave behind is not for us to reap

    def _start(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair()
            with theirs:
                number = theirs.fileno()
                env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
                self._server = self._popen([sys.executable, __file__, str(number)], pass_fds=[number], env=env)
        return self._socket


def _read(stream: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = stream.recv(count - len(found))
        if not part:
            raise EOFError("the forking process has ended")
        found += part
    return found


def spare() -> None:
    """Do without what takes time and shows nothing in a test.

    That is: that files outlive a loss of power; real pictures, but where ``REAL_PLOTS`` is set, as the tests of reports
    set it; the drawing of weights without data, half of the time in which a tiny model is loaded; and most searches for
    garbage, a tenth of all processor time.
    """
    gc.set_threshold(50_000, 50, 100)
    from colasearch.report import charts

    real = charts.rendered

    def rendered(chart: charts.Chart, formats: Sequence[str]) -> dict[str, bytes]:
        if "REAL_PLOTS" in os.environ:
            return real(chart, formats)
        return {kind: str(chart.drawable()).encode() for kind in formats}

    charts.rendered = rendered
    os.fsync = lambda descriptor: None
    if "torch" in sys.modules:
        from torch.nn import init

        for name in ("kaiming_uniform_", "normal_", "uniform_"):
            setattr(init, name, _but_on_meta(getattr(init, name)))


def _but_on_meta(draw: Callable[..., Any]) -> Callable[..., Any]:
    def drawn(tensor: Any, *args: Any, **more: Any) -> Any:
        return tensor if tensor.is_meta else draw(tensor, *args, **more)

    return drawn


def serve(number: int) -> None:
    """Fork for what is asked on the socket ``number`` until it is closed."""
    from colasearch.benchmarks.data_sets.countdown import BENCHMARK
    from colasearch.cli.main import prepare
    from colasearch.cli.session import import_all

    prepare()
    import_all()
    _import_ours()
    spare()
    BENCHMARK.source()  # kept; making the problems takes a second or two
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy all memory
    with socket.socket(fileno=number) as asked:
        _answer(asked)


def _import_ours() -> None:
    """Import every module of ours that can be, and what a first load of a model works out (0.3 s)."""
    import colasearch

    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for found in pkgutil.walk_packages(colasearch.__path__, "colasearch."):
        if not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(found.name)
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")


def _answer(asked: socket.socket) -> None:
    while True:
        size, streams, _, _ = socket.recv_fds(asked, 4, 3)
        if not size:
            return
        request = json.loads(_read(asked, int.from_bytes(size, "big")))
        told, tell = os.pipe()
        middle = os.fork()
        if not middle:
            child = os.fork()
            if not child:
                for mine in (told, tell):
                    os.close(mine)
                asked.close()
                ctypes.CDLL(None).prctl(SET_NAME, b"python")
                if request["env"].pop(NESTED, ""):
                    _nest(streams)
                _become(request, streams)
            os.write(tell, child.to_bytes(4, "big"))
            os._exit(0)
        os.close(tell)
        os.waitpid(middle, 0)  # now the child is the asker's
        asked.sendall(os.read(told, 4))
        os.close(told)
        for stream in streams:
            os.close(stream)


def _nest(streams: Sequence[int]) -> None:
    """Let this process ask a child of its own to fork; that ends with it."""
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        for stream in streams:
            os.close(stream)
        ctypes.CDLL(None).prctl(SET_NAME, b"zygote")
        _answer(theirs)
        os._exit(0)
    theirs.close()
    Zygote(ours).__enter__()


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for, and end."""
    while os.getppid() != request["parent"]:  # the process between has not ended yet
        time.sleep(0.001)
    if request["session"]:
        os.setsid()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        if stream > 2:
            os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it lives as long as the process
    lines = -1 if "PYTHONUNBUFFERED" not in request["env"] else 1
    sys.stdout = open(1, "w", buffering=lines, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if not sys.flags.safe_path:
        sys.path[0] = request["cwd"]
    sys.path[1:1] = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = ["colasearch", *request["args"][1:]]
    sys.modules.pop(request["args"][0], None)  # as where nothing has imported it, of which runpy would warn
    code: object = 0
    try:
        if request["args"] == WORKER[1:]:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
        else:
            runpy.run_module(request["args"][0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends a process, but that it does not take apart all that was imported: that takes a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
