/* SPDX-License-Identifier: Apache-2.0
 *
 * Naming the files of a tree.
 *
 * One name is built up and cut down in a buffer while directories are entered and left.  The directories that are open form a
 * chain, which is how a link that leads back into itself is recognised; a chain of links can multiply without one, so their depth
 * is limited too.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "tree.h"

#define LINK_DEPTH_MAX 8

typedef struct tree {
    load_t *load;
    char path[AFPA_PATH_MAX];
} tree_t;

/* An open directory and those it is in. */
typedef struct level {
    const struct level *up;
    DIR *dir;
    dev_t device;
    ino_t inode;
    unsigned links; /* followed on the way here */
} level_t;

static void walk(tree_t *t, size_t length, const level_t *up, unsigned links);

static bool leads_back(const level_t *level, const struct stat *st)
{
    for (; level; level = level->up)
        if (level->device == st->st_dev && level->inode == st->st_ino)
            return true;
    return false;
}

static void skip(tree_t *t, const char *reason)
{
    load_skip(t->load, t->path, LOAD_FOUND, reason);
}

static void on_link(tree_t *t, size_t length, const level_t *level, const char *name)
{
    struct stat st;

    if (fstatat(dirfd(level->dir), name, &st, 0) != 0)
        skip(t, load_reason(errno));
    else if (S_ISDIR(st.st_mode) && (leads_back(level, &st) || level->links >= LINK_DEPTH_MAX))
        skip(t, load_reason(ELOOP));
    else if (S_ISDIR(st.st_mode))
        walk(t, length, level, level->links + 1);
    else if (S_ISREG(st.st_mode))
        load_add(t->load, t->path, LOAD_FOUND);
    else
        skip(t, afpa_counter_name(AFPA_DECLINE_NOT_REGULAR));
}

/* The kind of an entry where the file system does not say it along with the name. */
static unsigned char kind_of(const level_t *level, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(dirfd(level->dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return DT_REG; /* loading it will tell */
    return (unsigned char)IFTODT(st.st_mode);
}

/* t->path is the entry's. */
static void on_entry(tree_t *t, size_t length, const level_t *level, const struct dirent *entry)
{
    switch (kind_of(level, entry)) {
    case DT_REG:
        load_add(t->load, t->path, LOAD_FOUND);
        break;
    case DT_DIR:
        walk(t, length, level, level->links);
        break;
    case DT_LNK:
        on_link(t, length, level, entry->d_name);
        break;
    default:
        skip(t, afpa_counter_name(AFPA_DECLINE_NOT_REGULAR));
        break;
    }
}

static void walk_entries(tree_t *t, size_t length, const level_t *level)
{
    const struct dirent *entry;

    while (!load_stopped(t->load) && (entry = readdir(level->dir)) != NULL) {
        size_t name_length = strlen(entry->d_name);

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (length + 1 + name_length >= sizeof(t->path)) {
            skip(t, load_reason(ENAMETOOLONG));
            continue;
        }
        t->path[length] = '/';
        memcpy(t->path + length + 1, entry->d_name, name_length + 1);
        on_entry(t, length + 1 + name_length, level, entry);
        t->path[length] = 0;
    }
}

/* t->path, `length` bytes long, is a directory. */
static void walk(tree_t *t, size_t length, const level_t *up, unsigned links)
{
    level_t level = {.up = up, .dir = opendir(t->path), .links = links};
    struct stat st;

    if (!level.dir || fstat(dirfd(level.dir), &st) != 0) {
        skip(t, load_reason(errno));
        if (level.dir)
            closedir(level.dir);
        return;
    }
    level.device = st.st_dev;
    level.inode = st.st_ino;
    walk_entries(t, length, &level);
    closedir(level.dir);
}

void tree_add(load_t *load, const char *path)
{
    size_t length = strlen(path);
    tree_t t = {.load = load};

    if (length >= sizeof(t.path)) {
        load_skip(load, path, LOAD_ASKED, load_reason(ENAMETOOLONG));
        return;
    }
    memcpy(t.path, path, length + 1);
    walk(&t, path[length - 1] == '/' ? length - 1 : length, NULL, 0); /* a slash is put before each name anyway */
}
