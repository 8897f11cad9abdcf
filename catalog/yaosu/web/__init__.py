"""The market over HTTP: native routes, resumable uploads, the log, pages for people."""
