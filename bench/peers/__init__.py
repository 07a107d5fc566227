"""Other people's gateways, each in an environment of its own, which `make bench-peers` installs."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager

from bench.contestants import LOCAL, Completions
from bench.daemons import free_port
from bench.environment import ROOT, cleaned
from bench.measure import SERVER_CORE, on_core
from bench.servers import ServerProcess
from bench.stage import Stage

FOLDER = ROOT / "bench" / "peers"
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
KEY = "sk-bench"


class LiteLLM(Completions):
    """LiteLLM's proxy, as its documentation starts it: one process, one key, no database."""

    name = "LiteLLM's proxy"
    model = "scripted"
    most = 30
    own_key = KEY

    def __init__(self) -> None:
        """It is nobody's server of ours."""

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        if not PYTHON.exists():
            sys.exit("Peers are measured by `make bench-peers`, which installs them first.")
        env = {
            **cleaned(os.environ),
            **LOCAL,
            "OPENAI_BASE_URL": stage.provider.base_url,
            "LITELLM_MASTER_KEY": KEY,
            "DISABLE_ADMIN_UI": "True",
        }
        port = free_port()
        command = (
            f"{PYTHON.with_name('litellm')} --config litellm.yaml --host 127.0.0.1 --port {port} --telemetry False"
        )
        with on_core(SERVER_CORE):
            return ServerProcess("uvicorn", env=env, folder=FOLDER, command=command.split())


LITELLM = LiteLLM()
