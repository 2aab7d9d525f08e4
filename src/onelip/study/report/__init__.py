"""One page that shows a study: self-contained, interactive, offline."""
