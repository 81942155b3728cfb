"""Models on the Hugging Face hub: fetched from it and pushed to it, each with its card."""
