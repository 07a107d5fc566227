"""What doors over HTTP have in common, whatever protocol they speak: views, bodies, waiting, streams, statuses."""
