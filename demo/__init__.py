"""A page in the browser for people who have never seen this project. Needs gradio and the runtime; never torch."""
