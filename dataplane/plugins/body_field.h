/*
 * body_field.h - one named field of a request body that is a form, a JSON object or a
 * multipart form: for plugins that take something from it. Not a plugin itself.
 */
#ifndef DATAPLANE_PLUGINS_BODY_FIELD_H
#define DATAPLANE_PLUGINS_BODY_FIELD_H

#include "dataplane/plugin.h"

enum body_kind { BODY_OTHER, BODY_FORM, BODY_JSON, BODY_MULTIPART };

/* By the media type; parameters do not matter. */
enum body_kind body_kind(struct str content_type);

/*
 * How many values the field has (a JSON array or object counts as several); *first_out is
 * the first. A body that is not well-formed has no fields.
 */
unsigned body_field(struct exchange *x, struct str content_type, struct str body, struct str name,
                    struct str *first_out);

/* The body without the field, in the exchange's memory; unchanged when it is not there. */
struct str body_field_remove(struct exchange *x, struct str content_type, struct str body,
                             struct str name);

#endif
