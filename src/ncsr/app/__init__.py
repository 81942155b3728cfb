"""The page of `ncsr app`: enlarge a photograph in a browser, compare, redraw, mix and walk between its samples.

`server` starts a Gradio server, whose queue runs one job at a time. `jobs` has these jobs, `visits` what is kept for
each visitor; `rendering` turns latents into pictures tile by tile, and `downloads` packs pictures into files. The page
itself is the files in `static/`, without a framework or anything from another server.
"""
