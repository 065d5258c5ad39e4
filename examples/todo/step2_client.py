# ruff: noqa: I001 (the listing of the article, as it was printed; print has become a function)
import macaque
import json

app = macaque.Client()


def response_handler(response):
    print(json.dumps(response, indent=4))
    exit(0)


app.call("/todo/api/v1.0/tasks", {"task_id": 1}, response_handler)
