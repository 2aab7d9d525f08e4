"""Shapes are checked at every call while tests run; one torch thread, because cores are shared."""

import torch
from jaxtyping import install_import_hook

install_import_hook("onelip", "beartype.beartype")
torch.set_num_threads(1)
