"""`python -m documents`: what README and docs generate from results/, pictures of the study included."""

from documents.blocks import DOCUMENTS, current, draw

draw()
for document in DOCUMENTS:
    document.write_text(current(document.read_text()))
