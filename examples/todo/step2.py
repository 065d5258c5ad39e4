import macaque

app = macaque.Server()

tasks = [
    {"id": 1, "title": "Buy groceries", "description": "Milk, Cheese, Pizza, Fruit, Tylenol", "done": False},
    {"id": 2, "title": "Learn Python", "description": "Need to find a good Python tutorial on the web", "done": False},
]


@app.service("/todo/api/v1.0/tasks")
def get_tasks(request):
    task = [task for task in tasks if task["id"] == request["task_id"]]
    return {"task": task}


if __name__ == "__main__":
    app.run(debug=True)
