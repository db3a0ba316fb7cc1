// The types of Grafana's schema, for a dashboard that follows as JSON.
import type { AnnotationQuery, Dashboard } from '@grafana/schema';

/** As JSON has it: the text of an enumeration's member in place of the member. */
type Json<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer Item)[] ? Json<Item>[] : T extends object ? { [Name in keyof T]: Json<T[Name]> } : T;

/** What Grafana hands to a data source with an annotation: the schema leaves it to the data source. */
type OfPrometheus = { expr?: string; step?: string; titleFormat?: string; textFormat?: string };
type File = Omit<Json<Dashboard>, 'annotations'> & { annotations: { list: (Json<AnnotationQuery> & OfPrometheus)[] } };

