"""What starting up imports: a structure, for times depend on the machine (`python -m benchmarks startup`)."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "ot", "matplotlib", "plotly", "PIL", "pooch", "tensorboard")
EVERY_NAME = "import onelip\nfor name in [*onelip.__all__, 'transport']: getattr(onelip, name)"
RUN = "import onelip.gan.loop, onelip.study.observers, onelip.study.plane, onelip.study.store"
PAGE = "import onelip.study.gallery, onelip.study.report.page"
HELP = """
from onelip.cli import main
sys.argv[1:] = ["{0}", "--help"] if "{0}" else ["--help"]
try:
    main()
except SystemExit as exit:
    assert exit.code == 0, exit.code
"""
# What runs, and which of the heavy packages it may import; torch itself brings NumPy.
CASES = {
    "the library": ("import onelip", set()),
    "every public name": (EVERY_NAME, {"torch", "numpy"}),
    "a run of the study": (RUN, {"torch", "numpy", "PIL"}),
    "figures and report": (PAGE, {"torch", "numpy", "PIL", "matplotlib"}),
    "help": (HELP.format(""), set()),
    "help of study": (HELP.format("study"), set()),
    "help of w1bench": (HELP.format("w1bench"), set()),
}


@pytest.mark.parametrize(("code", "allowed"), CASES.values(), ids=CASES)
def test_nothing_heavy_is_imported_before_it_is_needed(code, allowed):
    names = f"print('heavy', *sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{names}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= allowed
