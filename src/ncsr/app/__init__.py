"""The page of `ncsr app`: enlarge a photograph in a browser, compare, redraw, mix and walk between its samples.

`server` starts a Gradio server, whose queue runs one job at a time; `jobs` are these jobs, `visits` what is kept for a
visitor, `rendering` turns latents into pictures tile by tile, `downloads` packs them. The page itself is the files in
`static/`: no framework, nothing from another server.
"""
