/* SPDX-License-Identifier: Apache-2.0
 *
 * What tools do with a zone that servers have made: attach to it, with the rights of its owner, and remove it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owner.h"
#include "zone.h"

static void path_of(const char *name_or_path, char *path, size_t room)
{
    if (strchr(name_or_path, '/'))
        snprintf(path, room, "%s", name_or_path);
    else
        snprintf(path, room, "%s/%s%s", AFPA_ZONE_DIR, AFPA_ZONE_PREFIX, name_or_path);
}

/* The groups that a server gives its workers. */
static int groups_take(uid_t uid, gid_t gid)
{
    const struct passwd *user = getpwuid(uid);

    return user ? initgroups(user->pw_name, gid) : setgroups(0, NULL);
}

static afpa_status_t become_owner(int fd, const char *path, afpa_error_t *error)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: %s", path, strerror(errno));
    if (geteuid() != 0 || st.st_uid == 0)
        return AFPA_OK;
    if (groups_take(st.st_uid, st.st_gid) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: cannot take on the rights of its owner (user %d): %s", path, (int)st.st_uid,
                          strerror(errno));
    return AFPA_OK;
}

afpa_status_t afpa_zone_attach(const char *name_or_path, bool drop_rights, afpa_zone_t **out, afpa_error_t *error)
{
    afpa_zone_t *zone = calloc(1, sizeof(*zone));
    afpa_status_t status = AFPA_OK;
    afpa__layout_t layout;
    int fd;

    *out = NULL;
    if (!zone)
        return afpa__fail(error, AFPA_NO_SPACE, "%s: out of memory", name_or_path);
    path_of(name_or_path, zone->path, sizeof(zone->path));
    fd = open(zone->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        status = afpa__fail(error, errno == ENOENT ? AFPA_NOT_FOUND : AFPA_INVALID, "%s: %s", zone->path, strerror(errno));
    if (status == AFPA_OK && drop_rights)
        status = become_owner(fd, zone->path, error);
    if (status == AFPA_OK)
        status = afpa__segment_examine(fd, zone->path, &layout, error);
    if (status == AFPA_OK)
        status = afpa__segment_map(&zone->segment, &layout, fd, zone->path, error);
    if (status != AFPA_OK) {
        if (fd >= 0)
            close(fd);
        free(zone);
        return status;
    }
    snprintf(zone->name, sizeof(zone->name), "%.*s", AFPA_ZONE_NAME_MAX, zone->segment.header->name);
    *out = zone;
    return AFPA_OK;
}

afpa_status_t afpa_zone_destroy(const char *name_or_path, bool force, afpa_error_t *error)
{
    char path[AFPA_PATH_MAX];
    uint64_t magic = 0;
    unsigned living;
    ssize_t got;
    int fd;

    path_of(name_or_path, path, sizeof(path));
    fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return afpa__fail(error, errno == ENOENT ? AFPA_NOT_FOUND : AFPA_INVALID, "%s: %s", path, strerror(errno));
    got = pread(fd, &magic, sizeof(magic), 0);
    living = afpa__owners_living(fd);
    close(fd);
    if (magic == 0 && !strchr(name_or_path, '/')) /* a creation that was interrupted */
        got = 0;
    if (got != 0 && (got != (ssize_t)sizeof(magic) || magic != AFPA_MAGIC))
        return afpa__fail(error, AFPA_INVALID, "%s: is not an AFPA segment", path);
    if (living > 0 && !force)
        return afpa__fail(error, AFPA_IN_USE, "%s: is in use by %u processes", path, living);
    if (unlink(path) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: %s", path, strerror(errno));
    return AFPA_OK;
}
