/*
 * A small web service for the demonstration: HTTP/1.0 on 127.0.0.1:$PORT.
 *
 *   /             a greeting with the version
 *   /healthz      "ok"
 *   /static/NAME  a file of $ASSETS (default: ./static)
 *
 *   app [--serve]       serves
 *   app --healthcheck   asks the running service for /healthz
 *   app --self-test     serves on a free port, asks itself, prints "ok"
 *   app --version       prints the version
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

#define GREETING "Welcome to the lodging, version " VERSION "\n"

static void fail(const char *what)
{
	fprintf(stderr, "app: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		data += sent;
		size -= (size_t)sent;
	}
}

static void answer(int fd, const char *status, const char *type, const char *body, size_t size)
{
	char head[256];
	int length = snprintf(head, sizeof head,
			      "HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
			      status, type, size);
	send_all(fd, head, (size_t)length);
	send_all(fd, body, size);
}

static void answer_text(int fd, const char *status, const char *text)
{
	answer(fd, status, "text/plain; charset=utf-8", text, strlen(text));
}

static const char *type_of(const char *name)
{
	const char *dot = strrchr(name, '.');
	if (dot && strcmp(dot, ".html") == 0)
		return "text/html; charset=utf-8";
	if (dot && strcmp(dot, ".css") == 0)
		return "text/css; charset=utf-8";
	if (dot && strcmp(dot, ".svg") == 0)
		return "image/svg+xml";
	return "application/octet-stream";
}

/* Only plain names: no directories, nothing hidden, no links out of the directory. */
static void answer_file(int fd, const char *name)
{
	static char body[64 * 1024];
	const char *assets = getenv("ASSETS");
	int dir = open(assets ? assets : "static", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = -1;
	struct stat st;

	if (dir >= 0 && name[0] != '\0' && name[0] != '.' && !strchr(name, '/'))
		file = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file >= 0 && fstat(file, &st) == 0 && S_ISREG(st.st_mode)) {
		size_t size = 0;
		ssize_t got;
		while (size < sizeof body && (got = read(file, body + size, sizeof body - size)) > 0)
			size += (size_t)got;
		answer(fd, "200 OK", type_of(name), body, size);
	} else {
		answer_text(fd, "404 Not Found", "not found\n");
	}
	if (file >= 0)
		close(file);
	if (dir >= 0)
		close(dir);
}

static void serve_one(int fd)
{
	char request[4096];
	size_t size = 0;
	struct timeval patience = { .tv_sec = 5 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	do {
		ssize_t got = recv(fd, request + size, sizeof request - 1 - size, 0);
		if (got <= 0)
			return;
		size += (size_t)got;
		request[size] = '\0';
	} while (!strstr(request, "\r\n\r\n") && size < sizeof request - 1);

	if (strncmp(request, "GET /", 5) != 0) {
		answer_text(fd, "405 Method Not Allowed", "only GET\n");
		return;
	}
	char *path = request + 4;
	path[strcspn(path, " ?\r\n")] = '\0';
	if (strcmp(path, "/") == 0)
		answer_text(fd, "200 OK", GREETING);
	else if (strcmp(path, "/healthz") == 0)
		answer_text(fd, "200 OK", "ok\n");
	else if (strncmp(path, "/static/", 8) == 0)
		answer_file(fd, path + 8);
	else
		answer_text(fd, "404 Not Found", "not found\n");
}

static void serve(int listener)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			fail("accept");
		serve_one(fd);
		close(fd);
	}
}

static struct sockaddr_in loopback(unsigned port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

/* Listens on the port, or on a free one for 0; gives the port in *port. */
static int listen_on(unsigned *port)
{
	struct sockaddr_in address = loopback(*port);
	socklen_t size = sizeof address;
	int yes = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0)
		fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0)
		fail("bind");
	if (listen(listener, 16) != 0)
		fail("listen");
	if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
		fail("getsockname");
	*port = ntohs(address.sin_port);
	return listener;
}

/* Asks the service; true when it answers 200 and the body holds the text. */
static int asks(unsigned port, const char *path, const char *text)
{
	struct sockaddr_in address = loopback(port);
	struct timeval patience = { .tv_sec = 5 };
	char buffer[4096];
	size_t size = 0;
	ssize_t got;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		close(fd);
		return 0;
	}
	int length = snprintf(buffer, sizeof buffer, "GET %s HTTP/1.0\r\n\r\n", path);
	send_all(fd, buffer, (size_t)length);
	while (size < sizeof buffer - 1 &&
	       (got = recv(fd, buffer + size, sizeof buffer - 1 - size, 0)) > 0)
		size += (size_t)got;
	buffer[size] = '\0';
	close(fd);
	char *body = strstr(buffer, "\r\n\r\n");
	return strncmp(buffer, "HTTP/1.0 200 ", 13) == 0 && body && strstr(body, text);
}

static int self_test(void)
{
	unsigned port = 0;
	int listener = listen_on(&port);
	pid_t server = fork();

	if (server < 0)
		fail("fork");
	if (server == 0)
		serve(listener);
	close(listener);
	const char *wrong = NULL;
	if (!asks(port, "/healthz", "ok\n"))
		wrong = "/healthz";
	else if (!asks(port, "/", GREETING))
		wrong = "/";
	else if (!asks(port, "/static/style.css", "body"))
		wrong = "/static/style.css";
	else if (asks(port, "/static/../src/app.c", ""))
		wrong = "a path out of the assets";
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	if (wrong) {
		fprintf(stderr, "app: self-test: %s\n", wrong);
		return 1;
	}
	puts("ok");
	return 0;
}

static unsigned port_from_environment(void)
{
	const char *text = getenv("PORT");
	char *end;
	long port = text ? strtol(text, &end, 10) : 8080;

	if (text && (*text == '\0' || *end != '\0' || port < 1 || port > 65535)) {
		fprintf(stderr, "app: PORT=%s is not a port\n", text);
		exit(2);
	}
	return (unsigned)port;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--self-test") == 0)
		return self_test();
	if (argc == 2 && strcmp(argv[1], "--healthcheck") == 0)
		return !asks(port_from_environment(), "/healthz", "ok\n");
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts(VERSION);
		return 0;
	}
	if (argc > 1 && (argc > 2 || strcmp(argv[1], "--serve") != 0)) {
		fprintf(stderr, "usage: app [--serve | --healthcheck | --self-test | --version]\n");
		return 2;
	}
	unsigned port = port_from_environment();
	int listener = listen_on(&port);
	fprintf(stderr, "app: version " VERSION " on 127.0.0.1:%u\n", port);
	serve(listener);
}
