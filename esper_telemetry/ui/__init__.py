"""SHOW it in a browser: a live page over the folds of `views`, served on this machine, without a CDN and without npm.

One thread per open run reads its record and feeds a `RunView`; viewers share what it computes, as changes in a bounded
ring. Nothing here writes a record, and a trainer never waits for a viewer: the page reads the files that the trainer
writes, or a collector. starlette, uvicorn and the browser files of bokeh are needed here only (extra `ui`).
"""
