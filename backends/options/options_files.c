/* What stands in files of its own: passwords and master keys. */
#include "options.h"

#include "core/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (256 * 1024)

struct slice options_read_file(struct arena *a, const char *path, struct conf_error *err)
{
    struct slice out = SLICE_NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *p;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > FILE_MAX ||
        !(p = arena_alloc(a, (size_t)st.st_size + 1)) ||
        read(fd, p, (size_t)st.st_size) != st.st_size)
        conf_fail(err, NULL, "%s: cannot read: %s", path, errno ? strerror(errno) : "too large");
    else
        out = slice_n(p, (size_t)st.st_size);
    if (fd >= 0)
        close(fd);
    return out;
}

static int add_master_key(const char *path, struct vault *v, struct conf_error *err)
{
    struct slice text;
    struct arena a;
    struct stat st;
    int rc = -1;

    if (stat(path, &st) == 0 && (st.st_mode & S_IRWXO))
        return conf_fail(err, NULL, "%s: open to everybody (mode %04o): chmod 0600", path,
                         (unsigned)st.st_mode & 07777);
    arena_init(&a, FILE_MAX + 64);
    text = options_read_file(&a, path, err);
    if (text.p) {
        rc = vault_add(v, text);
        if (rc != 0)
            conf_fail(err, NULL, "%s: not 64 hex digits", path);
        wipe((void *)(uintptr_t)text.p, text.n);
    }
    arena_release(&a);
    return rc;
}

int options_vault(const struct options *o, struct vault *v, struct conf_error *err)
{
    v->n = 0;
    for (uint32_t i = 0; i < o->master_key_count; i++)
        if (add_master_key(o->master_keys[i], v, err) != 0) {
            vault_wipe(v);
            return -1;
        }
    return 0;
}
