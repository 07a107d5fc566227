# One image for every process of the site: web, migrate, housekeeping. What gets in, .dockerignore lists; no secret does.

FROM python:3.11-slim AS build
COPY requirements.txt .
RUN python -m venv /venv
RUN /venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --system --no-create-home --uid 10001 verbatim
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN python -m compileall -q .
USER verbatim
EXPOSE 8000

# An idle connection is kept longer than nginx keeps it (deploy/nginx.conf). Without a shell, so that SIGTERM arrives.
CMD ["uvicorn", "--host", "0.0.0.0", "--port", "8000", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", \
     "--timeout-keep-alive", "60", "config.asgi:application"]
